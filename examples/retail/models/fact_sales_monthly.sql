SELECT
  to_char(sale_date, 'YYYY-MM') AS month_key,
  extract(year FROM sale_date)::integer AS year,
  extract(month FROM sale_date)::integer AS month,
  sum(units_sold) AS units_sold,
  sum(revenue) AS revenue,
  sum(returned_units) AS returned_units,
  sum(refund_amount) AS refund_amount,
  sum(lines) AS lines
FROM silver.fact_sales_daily
WHERE sale_date >= ${partition.start} AND sale_date < ${partition.end}
GROUP BY 1, 2, 3
