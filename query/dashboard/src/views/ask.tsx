export default function Ask() {
  return <h1>ask</h1>;
}
