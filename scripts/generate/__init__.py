"""The generated parts of README.md, docs/, docker/ and deploy/."""
