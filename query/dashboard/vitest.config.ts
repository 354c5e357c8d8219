import { defineConfig } from "vitest/config";

// Without the plugin for components, which would ask for a browser: what is tested here is pure.
export default defineConfig({ test: { environment: "node", include: ["test/**/*.test.ts"] } });
