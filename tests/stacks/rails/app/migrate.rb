require_relative "daily_report"

DailyReport.new.migrate
