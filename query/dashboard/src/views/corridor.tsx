export default function Corridor() {
  return <h1>corridor</h1>;
}
