"""Which of the usable photos stand for the concept, and the words that say why."""
