// contour tracing
