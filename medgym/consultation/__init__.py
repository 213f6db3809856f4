"""What the parts of a consultation are: roles, their recipe, the opinions that are told."""
