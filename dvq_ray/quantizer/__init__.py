"""What a quantizer is: its settings, the codec that a fit returns, and the module that learns by gradient."""
