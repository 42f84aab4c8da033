#!/bin/bash
BASE_URL="http://localhost:8000"

echo "Testing Prometheus metrics endpoints..."

echo "✓ Testing /summary..."
curl -s "$BASE_URL/prometheus/metrics/summary" | jq . > /dev/null && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /system..."
curl -s "$BASE_URL/prometheus/metrics/system" | wc -l && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /providers..."
curl -s "$BASE_URL/prometheus/metrics/providers" | wc -l && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /models..."
curl -s "$BASE_URL/prometheus/metrics/models" | wc -l && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /business..."
curl -s "$BASE_URL/prometheus/metrics/business" | wc -l && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /performance..."
curl -s "$BASE_URL/prometheus/metrics/performance" | wc -l && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /all..."
curl -s "$BASE_URL/prometheus/metrics/all" | wc -l && echo "  PASS" || echo "  FAIL"

echo "✓ Testing /docs..."
curl -s "$BASE_URL/prometheus/metrics/docs" | wc -l && echo "  PASS" || echo "  FAIL"

echo "All tests completed!"
