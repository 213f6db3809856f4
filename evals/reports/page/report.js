// Draws each chart into its place. Without scripts the tables beside them say the same.
CHARTS.forEach((chart, number) => {
  const place = document.getElementById(`c${number}`);
  Plotly.newPlot(place, chart.data, chart.layout, { responsive: true, displayModeBar: false });
});
