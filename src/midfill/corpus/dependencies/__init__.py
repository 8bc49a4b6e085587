"""Which file of a repository needs which, and in what order to show them (DeepSeek-Coder 2.2).

`graph` asks the families of languages for the edges, `order` puts files into one of four orders.
"""

from midfill.corpus.dependencies.family import File
from midfill.corpus.dependencies.graph import components, depends_on, strong_components
from midfill.corpus.dependencies.order import Order, order

__all__ = ["File", "Order", "components", "depends_on", "order", "strong_components"]
