export default function Utilities() {
  return <h1>utilities</h1>;
}
