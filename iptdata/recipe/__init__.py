"""Recipes: what is done to a clean patch; and suites: lists of recipes that are built together."""

from iptdata.recipe.load import Suite, load, load_recipes, shipped, shipped_recipes
from iptdata.recipe.recipe import Recipe

__all__ = ["Recipe", "Suite", "load", "load_recipes", "shipped", "shipped_recipes"]
