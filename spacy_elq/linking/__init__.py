"""From encoder outputs to ranked, cut and resolved links."""
