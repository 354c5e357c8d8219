export default function Now() {
  return <h1>now</h1>;
}
