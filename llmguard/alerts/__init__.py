"""What people and their systems are told: limits, expiring apps, unusual use, overage; and how it reaches them."""
