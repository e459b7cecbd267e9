"""The OpenAPI Gateway's wire, simulated: HTTP (vbrokers-openapi 2 to 12) and push (13)."""
