"""From encoder outputs to ranked mentions, and from those above the threshold to links."""
