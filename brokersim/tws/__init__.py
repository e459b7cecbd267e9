"""The simulated TWS: the text wire of server version 178 (reference tws-api)."""
