/** What a partition is asked for by: its key; where keys end with a date, as in `orders 2026-01-05`, the date. */
export const partitionName = (key: string, isDated: boolean): string =>
  isDated ? key.slice(key.lastIndexOf(" ") + 1) : key
