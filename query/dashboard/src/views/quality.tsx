export default function Quality() {
  return <h1>quality</h1>;
}
