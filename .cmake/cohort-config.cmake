include(CMakeFindDependencyMacro)
find_dependency(OpenSSL 3 COMPONENTS Crypto SSL)
find_dependency(Threads)

include("${CMAKE_CURRENT_LIST_DIR}/cohort-targets.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/headers.cmake")
cohort_add_headers(cohort::cohort)
