#include <cohort/core/hash.hpp>
#include <cohort/core/pieces.hpp>

cohort::sha1_digest digest_elsewhere(cohort::byte_view bytes) { return cohort::sha1_of(bytes); }
