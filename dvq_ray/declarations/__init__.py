"""What a class declares of itself: settings fields, their rules and axes, metric columns."""
