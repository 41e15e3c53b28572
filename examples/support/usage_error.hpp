// What a person typed makes no sense.
#pragma once

#include <stdexcept>

namespace cohort::examples {

/// Ends a program with 2, as an unknown flag does. what() is for people.
class usage_error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

}  // namespace cohort::examples
