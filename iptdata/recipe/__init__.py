"""Recipes: what is done to a clean patch; and suites: lists of recipes that are built together."""

from iptdata.recipe.load import RecipeNames, Suite, load, load_recipes, shipped, shipped_recipes
from iptdata.recipe.recipe import Recipe

__all__ = ["Recipe", "RecipeNames", "Suite", "load", "load_recipes", "shipped", "shipped_recipes"]
