-- A line is a return when its quantity is negative or its invoice was cancelled (C…). Amounts are exact; refunds are positive.
WITH lines AS (
  SELECT
    (invoice_date AT TIME ZONE 'Europe/London')::date AS sale_date,
    stock_code,
    country,
    quantity,
    quantity * unit_price AS amount,
    quantity < 0 OR invoice_no LIKE 'C%' AS is_return
  FROM bronze.raw_transactions
  WHERE invoice_date >= ${partition.start} AND invoice_date < ${partition.end}
)
SELECT
  sale_date,
  stock_code,
  country,
  count(*) AS lines,
  coalesce(sum(quantity) FILTER (WHERE NOT is_return), 0) AS units_sold,
  coalesce(sum(amount) FILTER (WHERE NOT is_return), 0) AS revenue,
  coalesce(sum(-quantity) FILTER (WHERE is_return), 0) AS returned_units,
  coalesce(sum(-amount) FILTER (WHERE is_return), 0) AS refund_amount
FROM lines
GROUP BY sale_date, stock_code, country
