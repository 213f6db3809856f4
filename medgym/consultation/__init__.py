"""A consultation of several roles: the roles, their recipe, the flow, and the opinions."""
