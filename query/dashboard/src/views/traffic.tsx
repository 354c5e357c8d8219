export default function Traffic() {
  return <h1>traffic</h1>;
}
