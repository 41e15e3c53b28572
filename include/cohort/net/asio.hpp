// The parts of Asio that everything above uses, and the names that moved between its releases:
// as_tuple, deferred and parallel groups live in asio::experimental up to 1.22.
#pragma once

// Asio 1.22 knows only clang's former, experimental coroutines and would leave awaitable out.
#if defined(__clang__) && defined(__cpp_impl_coroutine) && !defined(ASIO_HAS_CO_AWAIT)
#define ASIO_HAS_CO_AWAIT 1
#endif

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/version.hpp>

#if ASIO_VERSION >= 102300
#include <asio/as_tuple.hpp>
#include <asio/deferred.hpp>
#else
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/deferred.hpp>
#endif

#include <exception>
#include <system_error>

namespace cohort {

#if ASIO_VERSION >= 102300
using asio::as_tuple;
using asio::deferred;
#else
using asio::experimental::as_tuple;
using asio::experimental::deferred;
#endif

/// Completion token: resume with (error_code, results...) as a tuple instead of throwing.
inline constexpr auto as_result = as_tuple(asio::use_awaitable);

/// Whether an exception's code says that we cancelled the operation, as opposed to anything the other side did.
inline bool is_cancellation(const std::error_code& code) { return code == asio::error::operation_aborted; }

/// The system's errors in the standard's own category: Asio's does not compare with std::errc in every release.
/// A cancellation keeps its code.
inline std::error_code standard_error(const std::error_code& code) {
    const bool of_system = code.category() == asio::error::get_system_category() && !is_cancellation(code);
    return of_system ? std::error_code(code.value(), std::system_category()) : code;
}

inline bool is_cancellation(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::system_error& error) {
        return is_cancellation(error.code());
    } catch (...) {
        return false;
    }
}

[[noreturn]] inline void throw_cancelled() {
    // A copy shares the text and so takes no memory: what is cancelled for want of it must see why.
    static const std::system_error cancelled(asio::error::operation_aborted);
    throw cancelled;
}

}  // namespace cohort
