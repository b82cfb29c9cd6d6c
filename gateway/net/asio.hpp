// Asio, named once: every file of ours uses these aliases, all on the concrete io_context executor. Cores
// take its values (addresses, buffers, errors) and run a loop of their own (net/loop.hpp); the control thread
// and the worker supervisor run on its io_context.
#pragma once

#include "net/clock.hpp"

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>

namespace gw::net {

namespace asio = boost::asio;

using executor = asio::io_context::executor_type;
using tcp = asio::ip::tcp;
using tcp_socket = asio::basic_stream_socket<tcp, executor>;
using tcp_acceptor = asio::basic_socket_acceptor<tcp, executor>;
using error_code = boost::system::error_code;
using timer = asio::
    basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, executor>;

inline constexpr time_point never = time_point::max();

} // namespace gw::net
