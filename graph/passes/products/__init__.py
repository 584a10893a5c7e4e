"""Products of matrices that become fewer, smaller, or need no copies of what they read."""
from .repeated_rows import multiply_before_lookup
from .sum_iterations import sum_over_iterations
from .sum_products import sum_products
from .view_parts import join_products
from .views import products_of_views

__all__ = ["join_products", "multiply_before_lookup", "products_of_views", "sum_over_iterations", "sum_products"]
