"""One module for each screen: compose, bind, route; what things look like is in ui/present."""
