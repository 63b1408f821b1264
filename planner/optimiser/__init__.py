"""Problems of numbers with proven gaps: placement under a deadline, fleet sizing, schedules."""
