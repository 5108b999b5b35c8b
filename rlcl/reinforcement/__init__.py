"""What reinforcement learners are made of: environments at work, actions, returns, losses, memories."""
