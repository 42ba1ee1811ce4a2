"""A recipe says what is done to a clean patch; a suite is a list of recipes that are built together."""

from iptdata.recipe.load import Suite, load, load_recipes, shipped, shipped_recipes
from iptdata.recipe.recipe import Recipe

__all__ = ["Recipe", "Suite", "load", "load_recipes", "shipped", "shipped_recipes"]
