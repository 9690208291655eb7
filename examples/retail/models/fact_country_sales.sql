SELECT
  country,
  count(DISTINCT stock_code) AS products,
  sum(units_sold) AS units_sold,
  sum(revenue) AS revenue,
  sum(returned_units) AS returned_units,
  sum(refund_amount) AS refund_amount,
  sum(lines) AS lines
FROM silver.fact_sales_daily
GROUP BY country
