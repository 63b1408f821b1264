"""Jobs in virtual time: the dispatcher and the engine scheduler of production, and their verdict."""
