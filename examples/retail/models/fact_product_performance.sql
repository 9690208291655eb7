SELECT
  stock_code,
  min(sale_date) AS first_sold,
  max(sale_date) AS last_sold,
  count(DISTINCT country) AS countries,
  sum(units_sold) AS units_sold,
  sum(revenue) AS revenue,
  sum(returned_units) AS returned_units,
  sum(refund_amount) AS refund_amount,
  sum(lines) AS lines
FROM silver.fact_sales_daily
GROUP BY stock_code
