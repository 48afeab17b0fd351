"""False refusals lowered by an edit of the weights, above a safety floor."""
