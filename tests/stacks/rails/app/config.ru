require_relative "daily_report"

run DailyReport.new
