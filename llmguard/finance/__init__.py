"""What the organisation spends on models: reports, exports, other prices, and the provider's own figures."""
