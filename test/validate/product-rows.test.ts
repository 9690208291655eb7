import { expect, it } from "vitest"
import { Folder, messages } from "./folder.ts"

const DATE = "expected a date and time such as 2010-12-31 23:59:00"

/** A row of a CSV with id, name, price, quantity, ts; and the row it becomes (true: as it stands), or the letter. */
const ROWS: readonly (readonly [string, { readonly good: string | true } | { readonly bad: string }])[] = [
  ["p1,Desk,249.5,12,2026-10-03T08:15:00Z", { good: true }],
  ["p2,Desk,0,0,", { good: true }],
  ['"p3","Shelf, white",59.99,33,"2026-10-03 08:16:41"', { good: 'p3,"Shelf, white",59.99,33,2026-10-03 08:16:41' }],
  ['p4,"Arm ""Flex""",79,8,', { good: true }],
  ["p5,Fußstütze 😀,34.9,15,2026-10-03T10:20:44.25+02:00", { good: true }],
  ["p6,Desk,249.00,12,", { good: "p6,Desk,249,12," }],
  ["p7,Desk,+7,012,", { good: "p7,Desk,7,12," }],
  ["p8,Desk,.5,12.0,", { good: "p8,Desk,0.5,12," }],
  ["p9,Desk,1e3,1e2,", { good: "p9,Desk,1000,100," }],
  ["p10,Desk,1,9007199254740991,", { good: true }],
  ["p11,C:\\new\tDesk,1,1,2026-02-28T23:59:59Z", { good: true }],
  ["007,12,1,1,", { good: true }],
  ["p13,Desk,12abc,1,", { bad: 'price: expected a number ≥ 0, got "12abc"' }],
  ["p14,Desk,1e400,1,", { bad: 'price: expected a number ≥ 0, got "1e400"' }],
  ["p15,Desk,NaN,1,", { bad: 'price: expected a number ≥ 0, got "NaN"' }],
  ["p16,Desk,Infinity,1,", { bad: 'price: expected a number ≥ 0, got "Infinity"' }],
  ["p17,Desk,-0.01,1,", { bad: "price: expected a number ≥ 0, got -0.01" }],
  ['p18,Desk,"1,299.00",1,', { bad: 'price: expected a number ≥ 0, got "1,299.00"' }],
  ["p19,Desk, 12,1,", { bad: 'price: expected a number ≥ 0, got " 12"' }],
  ["p20,Desk,0x10,1,", { bad: 'price: expected a number ≥ 0, got "0x10"' }],
  ["p21,Desk,,1,", { bad: "price: expected a number ≥ 0, got nothing" }],
  ["p22,Desk,1,1.5,", { bad: 'quantity: expected an integer ≥ 0, got "1.5"' }],
  ["p23,Desk,1,-3,", { bad: "quantity: expected a number ≥ 0, got -3" }],
  ["p24,Desk,1,,", { bad: "quantity: expected an integer ≥ 0, got nothing" }],
  ["p25,Desk,1,9007199254740993,", { bad: 'quantity: expected an integer ≥ 0, got "9007199254740993"' }],
  [",Desk,1,1,", { bad: "id: expected text, got nothing" }],
  ["p27,,1,1,", { bad: "name: expected text, got nothing" }],
  ["p28,Desk,1,1,03/10/2026 08:26", { bad: `ts: ${DATE}, got "03/10/2026 08:26"` }],
  ["p29,Desk,1,1,2026-10-03", { bad: `ts: ${DATE}, got "2026-10-03"` }],
  ["p30,Desk,1,1,2026-02-29T08:27:00Z", { bad: 'ts: expected a day and time that exist, got "2026-02-29T08:27:00Z"' }],
  [
    ",,x,y,z",
    {
      bad: `id: expected text, got nothing; name: expected text, got nothing; price: expected a number ≥ 0, got "x"; quantity: expected an integer ≥ 0, got "y"; ts: ${DATE}, got "z"`,
    },
  ],
]
const HEADER = "id,name,price,quantity,ts\n"

it("judges every edge case of ProductRecord from CSV", async () => {
  await using folder = await Folder.of({ "in.csv": HEADER + ROWS.map(([row]) => `${row}\n`).join("") })
  const { good, letters, report } = await folder.validate("in.csv")
  const expected = ROWS.flatMap(([row, end]) => ("good" in end ? [end.good === true ? row : end.good] : []))
  expect(good.split("\n").slice(1, -1)).toEqual(expected)
  expect(messages(letters)).toEqual(ROWS.flatMap(([, end], i) => ("bad" in end ? [`${i + 2}: ${end.bad}`] : [])))
  expect(report).toMatchObject({ read: ROWS.length, good: expected.length, bad: letters.length, passed: false })
})

it("judges JSON lines by their own types: text is no number, and an empty name is none", async () => {
  const rows = [
    '{"id":"p1","name":"Desk","price":12,"quantity":3}',
    '{"id":"p2","name":"Desk","price":12.50,"quantity":3.0,"ts":"2026-10-03T08:15:00Z","colour":"red"}',
    '{"id":"p3","name":"Desk","price":"12","quantity":3}',
    '{"id":"p4","name":"","price":12,"quantity":3}',
    '{"id":5,"name":null,"price":true,"quantity":1.5,"ts":""}',
    '{"id":"p6","name":"Desk","price":1e400,"quantity":12345678901234567890}',
    '{"__proto__":{"id":"p7"},"name":"Desk","price":1,"quantity":1}',
    "{}",
  ]
  await using folder = await Folder.of({ "in.jsonl": rows.join("\n") })
  const { good, letters } = await folder.validate("in.jsonl", { goodOut: "good.jsonl" })
  expect(good).toBe(
    '{"id":"p1","name":"Desk","price":12,"quantity":3}\n{"id":"p2","name":"Desk","price":12.5,"quantity":3,"ts":"2026-10-03T08:15:00Z"}\n',
  )
  expect(messages(letters)).toEqual([
    '3: price: expected a number ≥ 0, got "12"',
    '4: name: expected at least 1 character, got ""',
    `5: id: expected text, got 5; name: expected text, got null; price: expected a number ≥ 0, got true; quantity: expected an integer ≥ 0, got 1.5; ts: ${DATE}, got ""`,
    '6: price: expected a number ≥ 0, got Infinity; quantity: expected an integer ≥ 0, got "12345678901234567000"',
    "7: id: expected text, got nothing",
    "8: id: expected text, got nothing; name: expected text, got nothing; price: expected a number ≥ 0, got nothing; quantity: expected an integer ≥ 0, got nothing",
  ])
})
