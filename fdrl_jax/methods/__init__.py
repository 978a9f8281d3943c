"""Methods: the interface of what is trained and how (`base`), and FDRL as the first of them."""
