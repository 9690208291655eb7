import { files, passRate, pipeline, project, table } from "spillway"
import { Order } from "./orders.ts"

/** The project that the measurements load: the folder comes from the environment, as a caller would set it. */
export default project({
  pipelines: [
    pipeline({
      name: "orders",
      source: files("*.csv", { root: process.env["BENCH_DATA"] ?? "." }),
      schema: Order,
      checks: [passRate(0.9)],
      sink: table("shop.orders", { key: ["order_id"] }),
    }),
  ],
})
