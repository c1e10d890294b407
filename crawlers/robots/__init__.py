"""robots.txt as RFC 9309 has it, one copy for the fleet; and what pages themselves ask of robots."""
