// A secret: bytes that cannot be printed, logged or compared by accident. There is no stream operator and no
// conversion; reveal() is for the one place that writes it into an upstream's head.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace gw::config {

class secret
{
public:
    secret() = default;
    explicit secret(std::string value) : value_(std::move(value)) {}

    [[nodiscard]] std::string_view reveal() const { return value_; }
    [[nodiscard]] bool empty() const { return value_.empty(); }

private:
    std::string value_;
};

} // namespace gw::config
