import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import solid from "vite-plugin-solid";

const ROOT = import.meta.dirname;

/** What the built files are made of; `query/src/dashboard.rs` computes the same and compares. */
const SOURCES = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"];

function below(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? below(path) : [path];
  });
}

function sourceHash(): string {
  const files = [...SOURCES.map((name) => join(ROOT, name)), ...below(join(ROOT, "src")), ...below(join(ROOT, "public"))];
  const hash = createHash("sha256");
  for (const name of files.map((path) => relative(ROOT, path)).sort()) {
    const bytes = readFileSync(join(ROOT, name));
    hash.update(`${name}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

/** Packs each file once, so that nothing is compressed while somebody waits, and writes down what it was made of. */
function shipped(): Plugin {
  return {
    name: "shipped",
    apply: "build",
    writeBundle({ dir }) {
      for (const path of below(dir!)) {
        const packed = brotliCompressSync(readFileSync(path), { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
        writeFileSync(`${path}.br`, packed);
      }
      if (dir === join(ROOT, "dist")) writeFileSync(join(ROOT, "built.sha256"), `${sourceHash()}\n`);
    },
  };
}

const city = process.env["SCREENLINE_CITY"] ?? "http://127.0.0.1:8815";

export default defineConfig({
  plugins: [solid(), shipped()],
  build: {
    target: "es2023",
    assetsInlineLimit: 0, // the content security policy takes no inline fonts or scripts
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200, // the map, which only its view loads
    reportCompressedSize: true,
  },
  server: {
    proxy: Object.fromEntries(
      ["/arrow.flight.protocol.FlightService", "/city", "/datasets", "/export"].map((path) => [path, { target: city }]),
    ),
  },
});
