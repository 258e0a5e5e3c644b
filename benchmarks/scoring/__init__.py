"""How fast are templates scored, against what people do today?"""
