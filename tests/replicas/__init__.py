"""Three replicas of the service in network namespaces of their own, behind the proxies of deploy/."""
