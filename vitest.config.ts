import { configDefaults, defineConfig } from "vitest/config"

/** Whole data sets, faults, many processes: minutes rather than seconds. */
const LONG = "test/**/*.long.test.ts"

export default defineConfig({
  test: {
    globalSetup: ["test/global-setup.ts"],
    // Much of the time is spent waiting for servers, so there may be more workers than processors.
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default"],
    projects: [
      {
        extends: true,
        test: { name: "short", include: ["test/**/*.test.ts"], exclude: [...configDefaults.exclude, LONG] },
      },
      { extends: true, test: { name: "long", include: [LONG] } },
    ],
  },
})
