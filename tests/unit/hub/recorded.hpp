// The recorded answers of the Hub in tests/data/hub: the request's line, the answer's status and fields, an
// empty line, the body.
#pragma once

#include "hub/judge.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace gw::hub {

struct recorded
{
    explicit recorded(const std::string& name)
    {
        std::ifstream in(GW_SOURCE_DIR "/tests/data/hub/" + name + ".http");
        std::string line;
        std::getline(in, line);
        model = line.substr(std::string("GET /api/models/").size());
        std::getline(in, line);
        EXPECT_FALSE(line.empty()) << name;
        status = line.empty() ? 0 : std::stoi(line);
        while (std::getline(in, line) && !line.empty()) {
            fields[line.substr(0, line.find(": "))] = line.substr(line.find(": ") + 2);
        }
        std::ostringstream rest;
        rest << in.rdbuf();
        body = rest.str();
        body.resize(body.find_last_not_of('\n') + 1);
    }

    [[nodiscard]] reply answer() const
    {
        const auto field = [this](const char* name) {
            const auto at = fields.find(name);
            return at != fields.end() ? std::string_view(at->second) : std::string_view();
        };
        return {
            .status = status,
            .content_type = field("Content-Type"),
            .error_code = field("X-Error-Code"),
            .error_message = field("X-Error-Message"),
            .retry_after = field("Retry-After"),
            .ratelimit = field("RateLimit"),
            .location = field("Location"),
            .body = body
        };
    }

    std::string model;
    int status = 0;
    std::map<std::string, std::string> fields;
    std::string body;
};

} // namespace gw::hub
