import { decimal, timestamp } from "spillway/schema"
import { z } from "zod"

/** One line of an invoice. Customers are identifiers, although they arrive as `17850.0`. */
export const Transaction = z.object({
  InvoiceNo: z.string(),
  StockCode: z.string(),
  Description: z.string().optional(),
  Quantity: z.int(),
  InvoiceDate: timestamp({ zone: "Europe/London" }),
  UnitPrice: decimal({ min: 0 }),
  CustomerID: z.string().optional(),
  Country: z.string(),
})
